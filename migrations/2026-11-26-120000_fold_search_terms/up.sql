-- Search in any script: canonical equivalence, full case folding, words without their accents, emoji, and scripts that are
-- written without spaces.

-- Dropped first, since it depends on the functions. Added again below, which computes the terms of all rows.
ALTER TABLE todos DROP COLUMN terms;
DROP FUNCTION todo_terms(uuid, text, text, text[]);

-- Folds a text to its words, separated by spaces, so that different spellings of a word are equal. A run of a script that
-- is written without spaces is one word, marked by a tilde. Each emoji or other symbol is a word.
--
-- The tables are those of Unicode 17: the case mapping of PostgreSQL depends on the locale, and some builds lack ICU. They
-- apply after NFKD, so they list no composed characters. tests/api/search.rs compares them with Unicode's properties.
CREATE FUNCTION todo_fold(text text) RETURNS text
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog AS $$
DECLARE
    folded text COLLATE "C" := lower(text COLLATE "C");
BEGIN
    IF octet_length(text) = char_length(text) THEN
        RETURN btrim(regexp_replace(folded, '[^0-9a-z]+', ' ', 'g'));
    END IF;
    -- Without accents, points of Hebrew and Arabic, skin tones and invisible characters, but with the vowel signs of Indic
    -- scripts. Lower case once more, for letters such as the Kelvin sign.
    folded := lower(regexp_replace(normalize(folded, NFKD),
        '[\u00AD\u0300-\u033F\u0342\u0346-\u036F\u0483-\u0489\u0591-\u05BD\u05BF\u05C1\u05C2\u05C4\u05C5\u05C7'
        '\u0610-\u061A\u061C\u0640\u064B-\u065F\u0670\u06D6-\u06DC\u06DF-\u06E4\u06E7\u06E8\u06EA-\u06ED\u0711'
        '\u0730-\u074A\u0897-\u089F\u08CA-\u08E1\u08E3-\u08FF\u0951-\u0954\u115F\u1160\u17B4\u17B5\u180B-\u180F'
        '\u1AB0-\u1ACE\u1CD0-\u1CD2\u1CD4-\u1CE0\u1CE2-\u1CE8\u1CED\u1CF4\u1CF8\u1CF9\u1DC0-\u1DFF\u200B-\u200F'
        '\u202A-\u202E\u2060-\u206F\u20D0-\u20F0\u2CEF-\u2CF1\u2DE0-\u2DFF\u302A-\u302D\uA66F-\uA672\uA674-\uA67D\uA69E'
        '\uA69F\uFB1E\uFE00-\uFE0F\uFE20-\uFE2F\uFEFF\uFFF0-\uFFF8\U000101FD\U000102E0\U00010EFC-\U00010EFF\U0001133B'
        '\U0001BCA0-\U0001BCA3\U0001CF00-\U0001CF46\U0001D167-\U0001D169\U0001D173-\U0001D182\U0001D185-\U0001D18B'
        '\U0001D1AA-\U0001D1AD\U0001D242-\U0001D244\U0001E08F\U0001F3FB-\U0001F3FF\U000E0000-\U000E0FFF]+', '', 'g'));
    -- Case, and Latin letters without decomposition that people type plainly.
    IF folded ~ '[\u00C6\u00D0\u00D8\u00DE\u00DF\u00E6\u00F0\u00F8\u00FE\u0110\u0111\u0126\u0127\u0131\u0141\u0142\u014A\u014B'
            '\u0152\u0153\u0166\u0167\u0180-\u0182\u0184\u0186\u0187\u0189-\u018B\u018E-\u0191\u0193\u0194\u0196-\u0199\u019C'
            '\u019D\u019F\u01A2\u01A4\u01A6\u01A7\u01A9\u01AC\u01AE\u01B1-\u01B8\u01BC\u01E4\u01F6\u01F7\u021C\u0220\u0222'
            '\u0224\u023A\u023B\u023D\u023E\u0241\u0243-\u0246\u0248\u024A\u024C\u024E\u0253\u0256\u0257\u1E9E]' THEN
        folded := translate(folded,
            'ÆÐØÞðøĐđĦħıŁłŊŋŒŦŧƀƁƂƄƆƇƉƊƋƎƏƐƑƓƔƖƗƘƙƜƝƟƢƤƦƧƩƬƮƱƲƳƴƵƶƷƸƼǤǶǷȜȠȢȤȺȻȽȾɁɃɄɅɆɈɊɌɎɓɖɗ',
            'ædoþdoddhhillnnœttbbƃƅɔƈddƌǝəɛƒɠɣɩɨkkɯɲɵƣƥʀƨʃƭʈʊʋyyzzʒƹƽǥƕƿȝƞȣȥⱥȼƚⱦɂbʉʌɇɉɋɍɏbdd');
        folded := replace(replace(replace(replace(replace(folded,
            'ß', 'ss'), 'ẞ', 'ss'), 'æ', 'ae'), 'œ', 'oe'), 'þ', 'th');
    END IF;
    IF folded ~ '[\u0345\u0370\u0372\u0376\u037F\u0391-\u03A1\u03A3-\u03A9\u03C2\u03CF\u03D8\u03DA\u03DC\u03DE\u03E0\u03F7\u03FA'
            '\u03FD-\u03FF]' THEN
        folded := translate(folded,
            'ͅͰͲͶͿΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩςϏϘϚϜϞϠϷϺϽϾϿ',
            'ιͱͳͷϳαβγδεζηθικλμνξοπρστυφχψωσϗϙϛϝϟϡϸϻͻͼͽ');
    END IF;
    IF folded ~ '[\u0402\u0404-\u0406\u0408-\u040B\u040F-\u0418\u041A-\u042F\u0460\u0462\u0464\u0466\u0468\u046A\u046C\u046E\u0470'
            '\u0472\u0474\u0478\u047A\u047C\u047E\u0480\u048A\u048C\u048E\u0490\u0492\u0494\u0496\u0498\u049A\u049C\u049E'
            '\u04A0\u04A2\u04A4\u04A6\u04A8\u04AA\u04AC\u04AE\u04B0\u04B2\u04B4\u04B6\u04B8\u04BA\u04BC\u04BE\u04C0\u04C3'
            '\u04C5\u04C7\u04C9\u04CB\u04CD\u04D4\u04D8\u04E0\u04E8\u04F6\u04FA\u04FC\u04FE\u0500\u0502\u0504\u0506\u0508'
            '\u050A\u050C\u050E\u0510\u0512\u0514\u0516\u0518\u051A\u051C\u051E\u0520\u0522\u0524\u0526\u0528\u052A\u052C'
            '\u052E\u1C80-\u1C89\uA640\uA642\uA644\uA646\uA648\uA64A\uA64C\uA64E\uA650\uA652\uA654\uA656\uA658\uA65A\uA65C'
            '\uA65E\uA660\uA662\uA664\uA666\uA668\uA66A\uA66C\uA680\uA682\uA684\uA686\uA688\uA68A\uA68C\uA68E\uA690\uA692'
            '\uA694\uA696\uA698\uA69A]' THEN
        folded := translate(folded,
            'ЂЄЅІЈЉЊЋЏАБВГДЕЖЗИКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯѠѢѤѦѨѪѬѮѰѲѴѸѺѼѾҀҊҌҎҐҒҔҖҘҚҜҞҠҢҤҦҨҪҬҮҰҲҴҶҸҺҼҾӀӃӅӇӉӋӍӔӘӠӨӶӺӼӾԀԂ'
            'ԄԆԈԊԌԎԐԒԔԖԘԚԜԞԠԢԤԦԨԪԬԮᲀᲁᲂᲃᲄᲅᲆᲇᲈᲉꙀꙂꙄꙆꙈꙊꙌꙎꙐꙒꙔꙖꙘꙚꙜꙞꙠꙢꙤꙦꙨꙪꙬꚀꚂꚄꚆꚈꚊꚌꚎꚐꚒꚔꚖꚘꚚ',
            'ђєѕіјљњћџабвгдежзиклмнопрстуфхцчшщъыьэюяѡѣѥѧѩѫѭѯѱѳѵѹѻѽѿҁҋҍҏґғҕҗҙқҝҟҡңҥҧҩҫҭүұҳҵҷҹһҽҿӏӄӆӈӊӌӎӕәӡөӷӻӽӿԁԃ'
            'ԅԇԉԋԍԏԑԓԕԗԙԛԝԟԡԣԥԧԩԫԭԯвдосттъѣꙋᲊꙁꙃꙅꙇꙉꙋꙍꙏꙑꙓꙕꙗꙙꙛꙝꙟꙡꙣꙥꙧꙩꙫꙭꚁꚃꚅꚇꚉꚋꚍꚏꚑꚓꚕꚗꚙꚛ');
    END IF;
    IF folded ~ '[\u0345\u03E2\u03E4\u03E6\u03E8\u03EA\u03EC\u03EE\u0531-\u0556\u10A0-\u10C5\u10C7\u10CD\u13F8-\u13FD\u1C90-\u1CBA'
            '\u1CBD-\u1CBF\u1EFA\u1EFC\u1EFE\u2132\u2183\u2C00-\u2C2F\u2C60\u2C62-\u2C64\u2C67\u2C69\u2C6B\u2C6D-\u2C70\u2C72'
            '\u2C75\u2C7E-\u2C80\u2C82\u2C84\u2C86\u2C88\u2C8A\u2C8C\u2C8E\u2C90\u2C92\u2C94\u2C96\u2C98\u2C9A\u2C9C\u2C9E'
            '\u2CA0\u2CA2\u2CA4\u2CA6\u2CA8\u2CAA\u2CAC\u2CAE\u2CB0\u2CB2\u2CB4\u2CB6\u2CB8\u2CBA\u2CBC\u2CBE\u2CC0\u2CC2'
            '\u2CC4\u2CC6\u2CC8\u2CCA\u2CCC\u2CCE\u2CD0\u2CD2\u2CD4\u2CD6\u2CD8\u2CDA\u2CDC\u2CDE\u2CE0\u2CE2\u2CEB\u2CED'
            '\u2CF2\uA722\uA724\uA726\uA728\uA72A\uA72C\uA72E\uA732\uA734\uA736\uA738\uA73A\uA73C\uA73E\uA740\uA742\uA744'
            '\uA746\uA748\uA74A\uA74C\uA74E\uA750\uA752\uA754\uA756\uA758\uA75A\uA75C\uA75E\uA760\uA762\uA764\uA766\uA768'
            '\uA76A\uA76C\uA76E\uA779\uA77B\uA77D\uA77E\uA780\uA782\uA784\uA786\uA78B\uA78D\uA790\uA792\uA796\uA798\uA79A'
            '\uA79C\uA79E\uA7A0\uA7A2\uA7A4\uA7A6\uA7A8\uA7AA-\uA7AE\uA7B0-\uA7B4\uA7B6\uA7B8\uA7BA\uA7BC\uA7BE\uA7C0\uA7C2'
            '\uA7C4-\uA7C7\uA7C9\uA7CB\uA7CC\uA7CE\uA7D0\uA7D2\uA7D4\uA7D6\uA7D8\uA7DA\uA7DC\uA7F5\uAB70-\uABBF'
            '\U00010400-\U00010427\U000104B0-\U000104D3\U00010570-\U0001057A\U0001057C-\U0001058A\U0001058C-\U00010592'
            '\U00010594\U00010595\U00010C80-\U00010CB2\U00010D50-\U00010D65\U000118A0-\U000118BF\U00016E40-\U00016E5F'
            '\U00016EA0-\U00016EB8\U0001E900-\U0001E921]' THEN
        folded := translate(folded,
            'ͅϢϤϦϨϪϬϮԱԲԳԴԵԶԷԸԹԺԻԼԽԾԿՀՁՂՃՄՅՆՇՈՉՊՋՌՍՎՏՐՑՒՓՔՕՖႠႡႢႣႤႥႦႧႨႩႪႫႬႭႮႯႰႱႲႳႴႵႶႷႸႹႺႻႼႽႾႿჀჁჂჃჄჅჇჍᏸᏹᏺᏻᏼᏽᲐᲑᲒᲓᲔᲕᲖᲗ'
            'ᲘᲙᲚᲛᲜᲝᲞᲟᲠᲡᲢᲣᲤᲥᲦᲧᲨᲩᲪᲫᲬᲭᲮᲯᲰᲱᲲᲳᲴᲵᲶᲷᲸᲹᲺᲽᲾᲿỺỼỾℲↃⰀⰁⰂⰃⰄⰅⰆⰇⰈⰉⰊⰋⰌⰍⰎⰏⰐⰑⰒⰓⰔⰕⰖⰗⰘⰙⰚⰛⰜⰝⰞⰟⰠⰡⰢⰣⰤⰥⰦⰧⰨⰩⰪⰫⰬⰭⰮⰯⱠⱢⱣⱤⱧⱩⱫⱭⱮ'
            'ⱯⱰⱲⱵⱾⱿⲀⲂⲄⲆⲈⲊⲌⲎⲐⲒⲔⲖⲘⲚⲜⲞⲠⲢⲤⲦⲨⲪⲬⲮⲰⲲⲴⲶⲸⲺⲼⲾⳀⳂⳄⳆⳈⳊⳌⳎⳐⳒⳔⳖⳘⳚⳜⳞⳠⳢⳫⳭⳲꜢꜤꜦꜨꜪꜬꜮꜲꜴꜶꜸꜺꜼꜾꝀꝂꝄꝆꝈꝊꝌꝎꝐꝒꝔꝖꝘꝚꝜꝞꝠꝢꝤꝦꝨꝪꝬꝮꝹꝻꝽ'
            'ꝾꞀꞂꞄꞆꞋꞍꞐꞒꞖꞘꞚꞜꞞꞠꞢꞤꞦꞨꞪꞫꞬꞭꞮꞰꞱꞲꞳꞴꞶꞸꞺꞼꞾꟀꟂꟄꟅꟆꟇꟉꟋꟌ꟎Ꟑ꟒꟔ꟖꟘꟚꟜꟵꭰꭱꭲꭳꭴꭵꭶꭷꭸꭹꭺꭻꭼꭽꭾꭿꮀꮁꮂꮃꮄꮅꮆꮇꮈꮉꮊꮋꮌꮍꮎꮏꮐꮑꮒꮓꮔꮕꮖꮗꮘꮙꮚꮛꮜꮝꮞꮟ'
            'ꮠꮡꮢꮣꮤꮥꮦꮧꮨꮩꮪꮫꮬꮭꮮꮯꮰꮱꮲꮳꮴꮵꮶꮷꮸꮹꮺꮻꮼꮽꮾꮿ𐐀𐐁𐐂𐐃𐐄𐐅𐐆𐐇𐐈𐐉𐐊𐐋𐐌𐐍𐐎𐐏𐐐𐐑𐐒𐐓𐐔𐐕𐐖𐐗𐐘𐐙𐐚𐐛𐐜𐐝𐐞𐐟𐐠𐐡𐐢𐐣𐐤𐐥𐐦𐐧𐒰𐒱𐒲𐒳𐒴𐒵𐒶𐒷𐒸𐒹𐒺𐒻𐒼𐒽𐒾𐒿𐓀𐓁𐓂𐓃𐓄𐓅𐓆𐓇𐓈𐓉𐓊𐓋'
            '𐓌𐓍𐓎𐓏𐓐𐓑𐓒𐓓𐕰𐕱𐕲𐕳𐕴𐕵𐕶𐕷𐕸𐕹𐕺𐕼𐕽𐕾𐕿𐖀𐖁𐖂𐖃𐖄𐖅𐖆𐖇𐖈𐖉𐖊𐖌𐖍𐖎𐖏𐖐𐖑𐖒𐖔𐖕𐲀𐲁𐲂𐲃𐲄𐲅𐲆𐲇𐲈𐲉𐲊𐲋𐲌𐲍𐲎𐲏𐲐𐲑𐲒𐲓𐲔𐲕𐲖𐲗𐲘𐲙𐲚𐲛𐲜𐲝𐲞𐲟𐲠𐲡𐲢𐲣𐲤𐲥𐲦𐲧𐲨𐲩𐲪𐲫𐲬𐲭𐲮𐲯𐲰𐲱𐲲𐵐𐵑𐵒𐵓𐵔𐵕'
            '𐵖𐵗𐵘𐵙𐵚𐵛𐵜𐵝𐵞𐵟𐵠𐵡𐵢𐵣𐵤𐵥𑢠𑢡𑢢𑢣𑢤𑢥𑢦𑢧𑢨𑢩𑢪𑢫𑢬𑢭𑢮𑢯𑢰𑢱𑢲𑢳𑢴𑢵𑢶𑢷𑢸𑢹𑢺𑢻𑢼𑢽𑢾𑢿𖹀𖹁𖹂𖹃𖹄𖹅𖹆𖹇𖹈𖹉𖹊𖹋𖹌𖹍𖹎𖹏𖹐𖹑𖹒𖹓𖹔𖹕𖹖𖹗𖹘𖹙𖹚𖹛𖹜𖹝𖹞𖹟𖺠𖺡𖺢𖺣𖺤𖺥𖺦𖺧𖺨𖺩𖺪𖺫𖺬𖺭𖺮𖺯𖺰𖺱𖺲𖺳'
            '𖺴𖺵𖺶𖺷𖺸𞤀𞤁𞤂𞤃𞤄𞤅𞤆𞤇𞤈𞤉𞤊𞤋𞤌𞤍𞤎𞤏𞤐𞤑𞤒𞤓𞤔𞤕𞤖𞤗𞤘𞤙𞤚𞤛𞤜𞤝𞤞𞤟𞤠𞤡',
            'ιϣϥϧϩϫϭϯաբգդեզէըթժիլխծկհձղճմյնշոչպջռսվտրցւփքօֆⴀⴁⴂⴃⴄⴅⴆⴇⴈⴉⴊⴋⴌⴍⴎⴏⴐⴑⴒⴓⴔⴕⴖⴗⴘⴙⴚⴛⴜⴝⴞⴟⴠⴡⴢⴣⴤⴥⴧⴭᏰᏱᏲᏳᏴᏵაბგდევზთ'
            'იკლმნოპჟრსტუფქღყშჩცძწჭხჯჰჱჲჳჴჵჶჷჸჹჺჽჾჿỻỽỿⅎↄⰰⰱⰲⰳⰴⰵⰶⰷⰸⰹⰺⰻⰼⰽⰾⰿⱀⱁⱂⱃⱄⱅⱆⱇⱈⱉⱊⱋⱌⱍⱎⱏⱐⱑⱒⱓⱔⱕⱖⱗⱘⱙⱚⱛⱜⱝⱞⱟⱡɫᵽɽⱨⱪⱬɑɱ'
            'ɐɒⱳⱶȿɀⲁⲃⲅⲇⲉⲋⲍⲏⲑⲓⲕⲗⲙⲛⲝⲟⲡⲣⲥⲧⲩⲫⲭⲯⲱⲳⲵⲷⲹⲻⲽⲿⳁⳃⳅⳇⳉⳋⳍⳏⳑⳓⳕⳗⳙⳛⳝⳟⳡⳣⳬⳮⳳꜣꜥꜧꜩꜫꜭꜯꜳꜵꜷꜹꜻꜽꜿꝁꝃꝅꝇꝉꝋꝍꝏꝑꝓꝕꝗꝙꝛꝝꝟꝡꝣꝥꝧꝩꝫꝭꝯꝺꝼᵹ'
            'ꝿꞁꞃꞅꞇꞌɥꞑꞓꞗꞙꞛꞝꞟꞡꞣꞥꞧꞩɦɜɡɬɪʞʇʝꭓꞵꞷꞹꞻꞽꞿꟁꟃꞔʂᶎꟈꟊɤꟍ꟏ꟑꟓꟕꟗꟙꟛƛꟶᎠᎡᎢᎣᎤᎥᎦᎧᎨᎩᎪᎫᎬᎭᎮᎯᎰᎱᎲᎳᎴᎵᎶᎷᎸᎹᎺᎻᎼᎽᎾᎿᏀᏁᏂᏃᏄᏅᏆᏇᏈᏉᏊᏋᏌᏍᏎᏏ'
            'ᏐᏑᏒᏓᏔᏕᏖᏗᏘᏙᏚᏛᏜᏝᏞᏟᏠᏡᏢᏣᏤᏥᏦᏧᏨᏩᏪᏫᏬᏭᏮᏯ𐐨𐐩𐐪𐐫𐐬𐐭𐐮𐐯𐐰𐐱𐐲𐐳𐐴𐐵𐐶𐐷𐐸𐐹𐐺𐐻𐐼𐐽𐐾𐐿𐑀𐑁𐑂𐑃𐑄𐑅𐑆𐑇𐑈𐑉𐑊𐑋𐑌𐑍𐑎𐑏𐓘𐓙𐓚𐓛𐓜𐓝𐓞𐓟𐓠𐓡𐓢𐓣𐓤𐓥𐓦𐓧𐓨𐓩𐓪𐓫𐓬𐓭𐓮𐓯𐓰𐓱𐓲𐓳'
            '𐓴𐓵𐓶𐓷𐓸𐓹𐓺𐓻𐖗𐖘𐖙𐖚𐖛𐖜𐖝𐖞𐖟𐖠𐖡𐖣𐖤𐖥𐖦𐖧𐖨𐖩𐖪𐖫𐖬𐖭𐖮𐖯𐖰𐖱𐖳𐖴𐖵𐖶𐖷𐖸𐖹𐖻𐖼𐳀𐳁𐳂𐳃𐳄𐳅𐳆𐳇𐳈𐳉𐳊𐳋𐳌𐳍𐳎𐳏𐳐𐳑𐳒𐳓𐳔𐳕𐳖𐳗𐳘𐳙𐳚𐳛𐳜𐳝𐳞𐳟𐳠𐳡𐳢𐳣𐳤𐳥𐳦𐳧𐳨𐳩𐳪𐳫𐳬𐳭𐳮𐳯𐳰𐳱𐳲𐵰𐵱𐵲𐵳𐵴𐵵'
            '𐵶𐵷𐵸𐵹𐵺𐵻𐵼𐵽𐵾𐵿𐶀𐶁𐶂𐶃𐶄𐶅𑣀𑣁𑣂𑣃𑣄𑣅𑣆𑣇𑣈𑣉𑣊𑣋𑣌𑣍𑣎𑣏𑣐𑣑𑣒𑣓𑣔𑣕𑣖𑣗𑣘𑣙𑣚𑣛𑣜𑣝𑣞𑣟𖹠𖹡𖹢𖹣𖹤𖹥𖹦𖹧𖹨𖹩𖹪𖹫𖹬𖹭𖹮𖹯𖹰𖹱𖹲𖹳𖹴𖹵𖹶𖹷𖹸𖹹𖹺𖹻𖹼𖹽𖹾𖹿𖺻𖺼𖺽𖺾𖺿𖻀𖻁𖻂𖻃𖻄𖻅𖻆𖻇𖻈𖻉𖻊𖻋𖻌𖻍𖻎'
            '𖻏𖻐𖻑𖻒𖻓𞤢𞤣𞤤𞤥𞤦𞤧𞤨𞤩𞤪𞤫𞤬𞤭𞤮𞤯𞤰𞤱𞤲𞤳𞤴𞤵𞤶𞤷𞤸𞤹𞤺𞤻𞤼𞤽𞤾𞤿𞥀𞥁𞥂𞥃');
    END IF;
    -- Punctuation, spaces and modifiers separate words.
    folded := regexp_replace(normalize(folded, NFKC),
        '[\u0001-/:-@\u005B-`{-\u007F\u0080-\u00A7\u00AB\u00AC\u00B0-\u00BF\u00D7\u00F7\u02C2-\u02C5\u02D2-\u02EB\u02ED\u02EF-\u02FF\u0375\u03F6'
        '\u0482\u055A-\u055F\u0589-\u05C6\u05F3-\u061F\u066A-\u066D\u06D4\u06DD\u06DE\u06E9\u06FD\u06FE\u0700-\u070F'
        '\u07F6-\u07F9\u07FE\u07FF\u0830-\u083E\u085E\u0888\u0890\u0891\u08E2\u0964\u0965\u0970\u09F2\u09F3\u09FA\u09FB'
        '\u09FD\u0A76\u0AF0\u0AF1\u0B70\u0BF3-\u0BFA\u0C77\u0C7F\u0C84\u0D4F\u0D79\u0DF4\u0E3F\u0E4F\u0E5A\u0E5B'
        '\u0F01-\u0F17\u0F1A-\u0F1F\u0F34\u0F36\u0F38\u0F3A-\u0F3D\u0F85\u0FBE-\u0FC5\u0FC7-\u0FDA\u104A-\u104F\u109E'
        '\u109F\u10FB\u1360-\u1368\u1390-\u1399\u1400\u166D\u166E\u1680\u169B\u169C\u16EB-\u16ED\u1735\u1736\u17D4-\u17D6'
        '\u17D8-\u17DB\u1800-\u180A\u1940-\u1945\u19DE-\u19FF\u1A1E\u1A1F\u1AA0-\u1AA6\u1AA8-\u1AAD\u1B4E\u1B4F'
        '\u1B5A-\u1B6A\u1B74-\u1B7F\u1BFC-\u1BFF\u1C3B-\u1C3F\u1C7E\u1C7F\u1CC0-\u1CD3\u2010-\u20C0\u2308-\u230B'
        '\u2768-\u2775\u27C5\u27C6\u27E6-\u27EF\u2800\u2983-\u2998\u29D8-\u29DB\u29FC\u29FD\u2CF9-\u2CFC\u2CFE\u2CFF'
        '\u2D70\u2E00-\u2E2E\u2E30-\u2E4F\u2E52-\u2E7F\u3001-\u3003\u3008-\u3011\u3014-\u301F\u30A0\u30FB\uA4FE\uA4FF'
        '\uA60D-\uA60F\uA673-\uA67E\uA6F2-\uA716\uA720\uA721\uA789\uA78A\uA838\uA874-\uA877\uA8CE\uA8CF\uA8F8-\uA8FA'
        '\uA8FC\uA92E\uA92F\uA95F\uA9C1-\uA9CD\uA9DE\uA9DF\uAA5C-\uAA5F\uAADE\uAADF\uAAF0\uAAF1\uAB5B\uAB6A\uAB6B\uABEB'
        '\uFBB2-\uFD3F\uFE45\uFE46\uFFF9-\uFFFB\U00010100-\U00010102\U0001039F\U000103D0\U0001056F\U00010857\U0001091F'
        '\U0001093F\U00010A50-\U00010A58\U00010A7F\U00010AF0-\U00010AF6\U00010B39-\U00010B3F\U00010B99-\U00010B9C'
        '\U00010D6E\U00010EAD\U00010ED0\U00010F55-\U00010F59\U00010F86-\U00010F89\U00011047-\U0001104D'
        '\U000110BB-\U000110C1\U000110CD\U00011140-\U00011143\U00011174\U00011175\U000111C5-\U000111C8\U000111CD'
        '\U000111DB\U000111DD-\U000111DF\U00011238-\U0001123D\U000112A9\U000113D4-\U000113D8\U0001144B-\U0001144F'
        '\U0001145A-\U0001145D\U000114C6\U000115C1-\U000115D7\U00011641-\U00011643\U00011660-\U0001166C\U000116B9'
        '\U0001173C-\U0001173E\U0001183B\U00011944-\U00011946\U000119E2\U00011A3F-\U00011A46\U00011A9A-\U00011A9C'
        '\U00011A9E-\U00011AA2\U00011B00-\U00011B09\U00011BE1\U00011C41-\U00011C45\U00011C70\U00011C71\U00011EF7'
        '\U00011EF8\U00011F43-\U00011F4F\U00011FDD-\U00011FE0\U00011FFF\U00012470-\U00012474\U00012FF1\U00012FF2'
        '\U00013430-\U0001343F\U00016A6E\U00016A6F\U00016AF5\U00016B37-\U00016B3B\U00016B44\U00016D6D-\U00016D6F'
        '\U00016E97-\U00016E9A\U00016FE2\U0001BC9F\U0001DA87-\U0001DA8B\U0001E2FF\U0001E5FF\U0001E95E\U0001E95F\U0001ECB0]+', ' ', 'g');
    -- Scripts without spaces, and Korean, whose particles are attached to words.
    folded := regexp_replace(folded,
        '[\u0E01-\u0E3A\u0E40-\u0E4E\u0E50-\u0E59\u0E81-\u0EDF\u0F00\u0F18\u0F19\u0F20-\u0F33\u0F35\u0F37\u0F39'
        '\u0F3E-\u0F84\u0F86-\u0FBC\u0FC6\u1000-\u1049\u1050-\u109D\u1100-\u11FF\u1700-\u1734\u1740-\u17D3\u17D7'
        '\u17DC-\u17F9\u1950-\u19DA\u1A00-\u1A1B\u1A20-\u1A99\u1AA7\u1B00-\u1B4C\u1B50-\u1B59\u1B6B-\u1B73\u1BC0-\u1BF3'
        '\u3005-\u3007\u3021-\u302F\u3031-\u3035\u3038-\u303C\u3041-\u309F\u30A1-\u30FA\u30FC-\u318E\u31A0-\u31BF'
        '\u31F0-\u31FF\u3400-\u4DBF\u4E00-\uA48C\uA840-\uA873\uA930-\uA953\uA960-\uA9C0\uA9D0-\uA9D9\uA9E0-\uAA59'
        '\uAA60-\uAA76\uAA7A-\uAAC2\uAADB-\uAADD\uAC00-\uD7FF\uF900-\uFAD9\uFF66-\uFFDC\U00010000-\U0001005D'
        '\U00010080-\U000100FA\U00010600-\U00010767\U00010800-\U0001083F\U000116D0-\U000116E3\U00011700-\U0001173B'
        '\U00011740-\U00011746\U00011EE0-\U00011EF6\U00011F00-\U00011F42\U00011F50-\U00011F5A\U00012000-\U0001246F'
        '\U00012475-\U0001254F\U00012F90-\U00012FF0\U00013000-\U0001342F\U00013440-\U0001467F\U00016FE0\U00016FE1'
        '\U00016FE3-\U00018DFF\U0001AFF0-\U0001B2FF\U0001DA00-\U0001DA36\U0001DA3B-\U0001DA6C\U0001DA75\U0001DA84'
        '\U0001DA9B-\U0001DAAF\U00020000-\U0003FFFD]+', ' ~\& ', 'g');
    -- Flags are pairs of letters.
    folded := regexp_replace(folded,
        '[\U0001F1E6-\U0001F1FF]{2}|[\U0001F1E6-\U0001F1FF\u00A9\u00AE\u2104-\u2125\u2127-\u2129\u212E\u213A-\u214D\u214F\u218A-\u2307\u230C-\u2328\u232B-\u2429'
        '\u2440-\u244A\u2500-\u2767\u2794-\u27C4\u27C7-\u27E5\u27F0-\u27FF\u2900-\u2982\u2999-\u29D7\u29DC-\u29FB'
        '\u29FE-\u2BFF\u2CE5-\u2CEA\u2E50\u2E51\u2E80-\u2EF2\u2FF0-\u2FFF\u3004\u3012\u3013\u3020\u3030\u3037'
        '\u303D-\u303F\u3190\u3191\u31C0-\u31EF\u327F\u4DC0-\u4DFF\uA490-\uA4C6\uA828-\uA82B\uA836\uA837\uA839'
        '\uAA77-\uAA79\uFD40-\uFDCF\uFDFD-\uFDFF\uFFFC\uFFFD\U00010137-\U0001013F\U00010179-\U00010189'
        '\U0001018C-\U000101A0\U000101D0-\U000101FC\U00010877\U00010878\U00010AC8\U00010D8E\U00010D8F\U0001173F'
        '\U00011FD5-\U00011FDC\U00011FE1-\U00011FF1\U00016B3C-\U00016B3F\U00016B45\U0001BC9C\U0001CC00-\U0001CCEF'
        '\U0001CD00-\U0001CEB3\U0001CF50-\U0001CFC3\U0001D000-\U0001D15D\U0001D16A-\U0001D16C\U0001D183-\U0001D1EA'
        '\U0001D200-\U0001D245\U0001D300-\U0001D356\U0001D800-\U0001D9FF\U0001DA37-\U0001DA3A\U0001DA6D-\U0001DA74'
        '\U0001DA76-\U0001DA83\U0001DA85\U0001DA86\U0001E14F\U0001ECAC\U0001ED2E\U0001EEF0\U0001EEF1\U0001F000-\U0001F1E5'
        '\U0001F203-\U0001FBEF\U0001FC00-\U0001FFFD]', ' \& ', 'g');
    RETURN btrim(regexp_replace(folded, ' {2,}', ' ', 'g'));
END;
$$;

-- Returns the terms of a todo from its folded text. Of a run without spaces these are each character with the next one,
-- and the last one alone, so that a search for one character is a search for a prefix.
CREATE FUNCTION todo_lexemes(owner text, folded text, tags text[]) RETURNS tsvector
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog AS $$
DECLARE
    words constant text[] := string_to_array(folded, ' ');
    terms text[] := ARRAY(
        SELECT owner || 'w' || left(word, 100) FROM unnest(words) AS word WHERE NOT starts_with(word, '~'));
BEGIN
    IF strpos(folded, '~') > 0 THEN
        terms := terms || ARRAY(
            SELECT owner || 'g' || character || lead(character, 1, '') OVER (PARTITION BY run ORDER BY place)
            FROM unnest(words) WITH ORDINALITY AS runs (word, run),
                unnest(string_to_array(substr(word, 2), NULL)) WITH ORDINALITY AS characters (character, place)
            WHERE starts_with(word, '~'));
    END IF;
    IF cardinality(tags) > 0 THEN
        terms := terms || ARRAY(SELECT owner || 't' || left(normalize(tag, NFC), 100) FROM unnest(tags) AS tag);
    END IF;
    RETURN array_to_tsvector(terms);
END;
$$;

-- The words of title and description, and the tags.
CREATE FUNCTION todo_terms(user_id uuid, title text, description text, tags text[]) RETURNS tsvector
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN todo_lexemes(right(user_id::text, 12), todo_fold(title || ' ' || description), tags);

-- Returns the search for all words of a folded text, the last one as a prefix; NULL if there are none.
CREATE FUNCTION todo_query(owner text, folded text) RETURNS tsquery
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog AS $$
DECLARE
    words constant text[] := string_to_array(folded, ' ');
    word text;
    terms text[] := '{}';
BEGIN
    -- Loops of simple expressions, since PostgreSQL would plan a query anew for each call.
    FOR place IN 1..cardinality(words) LOOP
        word := words[place];
        IF NOT starts_with(word, '~') THEN
            word := quote_literal(owner || 'w' || left(word, 100));
            terms := terms || CASE WHEN place = cardinality(words) THEN word || ':*' ELSE word END;
        ELSIF char_length(word) = 2 THEN
            terms := terms || (quote_literal(owner || 'g' || substr(word, 2)) || ':*');
        ELSE
            FOR start IN 2..char_length(word) - 1 LOOP
                terms := terms || quote_literal(owner || 'g' || substr(word, start, 2));
            END LOOP;
        END IF;
    END LOOP;
    RETURN nullif(array_to_string(terms, ' & '), '')::tsquery;
END;
$$;

CREATE OR REPLACE FUNCTION todo_search(user_id uuid, text text) RETURNS tsquery
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN todo_query(right(user_id::text, 12), todo_fold(text));

-- A search for tags: for all of them, or for any.
CREATE OR REPLACE FUNCTION todo_tagged(user_id uuid, tags text[], every boolean) RETURNS tsquery
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (
        SELECT string_agg(
            '''' || replace(replace(todo_term(user_id, 't', normalize(tag, NFC)), '\', '\\'), '''', '''''') || '''',
            CASE WHEN every THEN ' & ' ELSE ' | ' END)::tsquery
        FROM unnest(tags) AS tag
    );

-- Returns the runs of a folded search that its terms do not determine: those of three or more characters of a script without
-- spaces. NULL if there are none.
CREATE FUNCTION todo_phrases(folded text) RETURNS text[]
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog AS $$
BEGIN
    IF strpos(folded, '~') = 0 THEN
        RETURN NULL;
    END IF;
    RETURN (
        SELECT array_agg(substr(word, 2)) FROM unnest(string_to_array(folded, ' ')) AS word
        WHERE starts_with(word, '~') AND char_length(word) > 3);
END;
$$;

-- Returns true if title and description contain all phrases. Looks for them in the text as written first: to fold it takes a
-- hundred times as long, and folding seldom changes scripts without spaces.
CREATE FUNCTION todo_contains(title text, description text, phrases text[]) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 1000
    RETURN CASE
        WHEN (SELECT bool_and(strpos(title || ' ' || description, phrase) > 0) FROM unnest(phrases) AS phrase) THEN true
        ELSE (
            SELECT bool_and(strpos(folded, phrase) > 0)
            FROM (SELECT todo_fold(title || ' ' || description) AS folded OFFSET 0) AS text, unnest(phrases) AS phrase
        )
    END;

DROP FUNCTION todo_words(text);

ALTER TABLE todos ADD COLUMN terms tsvector NOT NULL
    GENERATED ALWAYS AS (todo_terms(user_id, title, description, tags)) STORED;
CREATE INDEX idx_todo_terms ON todos USING gin (terms) WITH (fastupdate = off);

COMMENT ON COLUMN todos.terms IS 'Search terms: the words of title and description, and the tags, each prefixed with owner and kind; generated.';
